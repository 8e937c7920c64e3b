import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";
import { Providers } from "./providers";
import "./globals.css";

export const metadata: Metadata = {
  title: { default: "chatd", template: "%s · chatd" },
  description: "A chat server on Trio: every acknowledged message is kept.",
  robots: { index: false },
  icons: { icon: "/icon.svg" },
};

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  viewportFit: "cover",
  interactiveWidget: "resizes-content",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f8fbfb" },
    { media: "(prefers-color-scheme: dark)", color: "#10161b" },
  ],
};

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en" suppressHydrationWarning>
      <body>
        <noscript>
          <p className="p-4 text-center">The chat needs JavaScript, which this browser does not run.</p>
        </noscript>
        <Providers>{children}</Providers>
      </body>
    </html>
  );
}
