// Runs before anything is drawn: a white flash costs an observer the night's vision.
"use strict";
{
  const key = "cempstream.light";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      return localStorage.getItem(key) || "auto";
    } catch {
      return "auto"; // a browser may keep nothing
    }
  };

  const show = (choice) => {
    const light = ["light", "dark", "red"].includes(choice) ? choice : system.matches ? "dark" : "light";
    document.documentElement.dataset.light = light;
    const colours = { light: "#ffffff", dark: "#14161a", red: "#000000" };
    document.querySelector("meta[name=theme-color]").content = colours[light];
  };

  show(chosen());
  system.addEventListener("change", () => show(chosen()));
  document.addEventListener("DOMContentLoaded", () => {
    for (const input of document.querySelectorAll("#light input")) {
      input.checked = input.value === chosen();
      input.addEventListener("change", () => {
        try {
          localStorage.setItem(key, input.value);
        } catch {
          // then it holds until the page is loaded again
        }
        show(input.value);
      });
    }
  });
}
