import type { SidecarReport } from '../../pure/contracts/index.ts';

/** To the control plane, over the inherited channel. */
export type Report = (report: SidecarReport) => void;
