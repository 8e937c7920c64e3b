"use client";

import { BrokenPage } from "@/components/broken-page";

export default BrokenPage;
