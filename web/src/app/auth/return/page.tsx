import type { Metadata } from "next";
import { ReturnPage } from "@/components/auth/return-page";

export const metadata: Metadata = { title: "Signing in" };

export default function AuthReturnPage() {
  return <ReturnPage />;
}
