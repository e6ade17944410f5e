// Light or dark: what the visitor chose on this device, or else what their system prefers.
const KEY = "rlhf-envs-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];
let chosen = null;
try {
  chosen = localStorage.getItem(KEY);
} catch {
  /* storage is switched off: the choice lasts until reload */
}

export const theme = () => (chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light");
export const onThemeChange = (listener) => listeners.push(listener);

export function connectThemeButton(button) {
  const show = () => {
    document.documentElement.dataset.theme = theme();
    button.textContent = theme() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to ${theme() === "dark" ? "light" : "dark"} colours`);
  };
  const toggle = () => {
    chosen = theme() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      /* as above */
    }
    show();
    listeners.forEach((listener) => listener(theme()));
  };
  button.addEventListener("click", toggle);
  system.addEventListener("change", () => {
    show();
    listeners.forEach((listener) => listener(theme()));
  });
  show();
  return toggle;
}
