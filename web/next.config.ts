import { readFileSync } from "node:fs";
import type { NextConfig } from "next";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };

const config: NextConfig = {
  output: "export",
  trailingSlash: true, // /chat/ is chat/index.html, on the daemon and on any static host
  reactStrictMode: true,
  images: { unoptimized: true },
  generateBuildId: () => version, // the same source gives the same bytes
  productionBrowserSourceMaps: false,
};

export default config;
