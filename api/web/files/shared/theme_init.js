// Runs before anything is drawn, so that a dark page never flashes white: not a module.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("darkroom.theme");
    } catch {
      // storage may be closed; then the system decides
    }
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  };
  dark.addEventListener("change", set);
  set();
})();
