import type { Metadata } from "next";
import { Guard } from "@/components/auth/guard";
import { SettingsPage } from "@/components/settings/settings-page";

export const metadata: Metadata = { title: "Settings" };

export default function SettingsRoute() {
  return (
    <Guard>
      <SettingsPage />
    </Guard>
  );
}
