"use client";

import { useCallback, useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { sayFailure } from "@/components/ui/toast";
import { useLogout } from "@/components/use-logout";
import { call } from "@/lib/api";
import { deviceName } from "@/lib/device-name";
import { ago } from "@/lib/time";
import type { Device, Devices as DevicesAnswer } from "@/lib/types";
import { Part } from "./part";

/** Where one is logged in, and the way out of each. */
export function Devices() {
  const [devices, setDevices] = useState<readonly Device[]>([]);
  const { leave, question } = useLogout(true);
  const load = useCallback(async (): Promise<void> => {
    try {
      setDevices((await call<DevicesAnswer>({ url: "/auth/devices" })).devices);
    } catch (trouble) {
      sayFailure("Your devices did not come", trouble);
    }
  }, []);
  useEffect(() => void load(), [load]);
  const remove = async (device: Device): Promise<void> => {
    try {
      await call({ method: "DELETE", url: `/auth/devices/${device.id}` });
      await load();
    } catch (trouble) {
      sayFailure("The device is still logged in", trouble);
    }
  };
  return (
    <Part title="Devices">
      <ul className="divide-y">
        {devices.map((device) => (
          <li key={device.id} className="flex items-center gap-3 py-2.5">
            <div className="min-w-0 flex-1">
              <p className="truncate text-sm font-medium">
                {deviceName(device.name)}
                {device.isCurrent ? <span className="ml-2 text-xs text-accent">this one</span> : null}
              </p>
              <p className="truncate text-xs text-soft">
                {device.address}, {ago(device.lastUsedAt)}
              </p>
            </div>
            {device.isCurrent ? null : (
              <Button look="soft" size="sm" aria-label={`Log out ${deviceName(device.name)}`} onClick={() => void remove(device)}>
                Log out
              </Button>
            )}
          </li>
        ))}
      </ul>
      <Button look="danger" onClick={leave}>
        Log out everywhere
      </Button>
      {question}
    </Part>
  );
}
