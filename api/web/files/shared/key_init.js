// Take the key out of a link ("#key=dk_…") before anything else is fetched, and remove it from the address
// bar. It stays in session storage until `Key.takeLinked` checks it. Not a module, because a
// module would run only after all its imports.
(() => {
  const take = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    // "#/…" is a place in the console
    if (!words.has("key") || location.hash.startsWith("#/")) return;
    const value = words.get("key");
    words.delete("key");
    const rest = words.size ? `#${words}` : "";
    history.replaceState(history.state, "", location.pathname + location.search + rest);
    sessionStorage.setItem("darkroom.linked_key", value);
  };
  // a link pasted into an open page does not reload it
  addEventListener("hashchange", take);
  take();
})();
