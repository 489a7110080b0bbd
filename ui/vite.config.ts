import { defineConfig } from "vite";

// The collector the development server forwards API calls to: `npm run dev` next to a running `flamekeeper up`.
const collector = "http://127.0.0.1:4040";

export default defineConfig({
  build: {
    // light-dark() and canvas roundRect exist in these; nothing older is tested.
    target: ["chrome123", "firefox128", "safari17.5"],
    // A data: URI in a style sheet would need a looser content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { "/api": collector } },
});
