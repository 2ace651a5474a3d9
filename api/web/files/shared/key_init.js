// Takes the key out of a link ("#key=dk_…") before anything else is fetched, and out of the address
// bar with it. It waits in the session until `Key.takeLinked` has looked at it. Not a module: a
// module would run only after all that it imports.
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
  // a link that is pasted into a page that is open loads nothing anew
  addEventListener("hashchange", take);
  take();
})();
