// Runs before the first paint, so that a dark page does not flash white; therefore not a module.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("darkroom.theme");
    } catch {
      // storage may be blocked; then the system setting decides
    }
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  };
  dark.addEventListener("change", set);
  set();
})();
