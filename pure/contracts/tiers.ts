/** R25. Disk is the budget of workspace changes, home and temporary files together, split by the driver. */
export interface Tier {
  readonly vcpu: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly pids: number;
  readonly openFiles: number;
}

const GiB = 1024 ** 3;

export const tiers = {
  starter: { vcpu: 1, memoryBytes: 2 * GiB, diskBytes: 5 * GiB, pids: 256, openFiles: 4096 },
  standard: { vcpu: 2, memoryBytes: 4 * GiB, diskBytes: 10 * GiB, pids: 512, openFiles: 8192 },
  pro: { vcpu: 4, memoryBytes: 8 * GiB, diskBytes: 25 * GiB, pids: 1024, openFiles: 16384 },
  enterprise: { vcpu: 8, memoryBytes: 16 * GiB, diskBytes: 50 * GiB, pids: 2048, openFiles: 32768 },
} as const satisfies Record<string, Tier>;

export type TierName = keyof typeof tiers;
export const tierNames = Object.keys(tiers) as TierName[];
