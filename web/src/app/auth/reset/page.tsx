import type { Metadata } from "next";
import { ResetPage } from "@/components/auth/reset-page";

export const metadata: Metadata = { title: "New password" };

export default function AuthResetRoute() {
  return <ResetPage />;
}
