/** What is wrong, or looks wrong, at one place of a policy. `rule` is stable: scripts may go by it. */
export interface Finding {
  readonly severity: 'error' | 'warning';
  readonly rule: string;
  readonly line: number;
  readonly column: number;
  readonly what: string;
  readonly todo: string;
}

/** A finding before its place is known. */
export interface Remark {
  readonly severity: 'error' | 'warning';
  readonly rule: string;
  readonly path: readonly PropertyKey[];
  readonly what: string;
  readonly todo: string;
}

export const error = (rule: string, path: readonly PropertyKey[], what: string, todo: string): Remark => ({
  severity: 'error',
  rule,
  path,
  what,
  todo,
});

export const warning = (rule: string, path: readonly PropertyKey[], what: string, todo: string): Remark => ({
  severity: 'warning',
  rule,
  path,
  what,
  todo,
});
