import type { Metadata } from "next";
import { VerifyPage } from "@/components/auth/verify-page";

export const metadata: Metadata = { title: "Your e-mail address" };

export default function AuthVerifyRoute() {
  return <VerifyPage />;
}
