import type { Metadata } from "next";
import { ForgotPage } from "@/components/auth/forgot-page";

export const metadata: Metadata = { title: "Forgotten password" };

export default function AuthForgotRoute() {
  return <ForgotPage />;
}
