/**
 * One catalogue of every error that a user or a client can meet: stable code, HTTP status, exit code of the CLI, and one
 * line each of what happened, why, and what to do. `{name}` is filled from the details. Alphabetical.
 */
export interface ErrorEntry {
  readonly status: number;
  readonly exit: number;
  readonly what: string;
  readonly why: string;
  readonly todo: string;
}

export const errorCatalogue = {
  GB_AUDIT_TAMPERED: {
    status: 409,
    exit: 65,
    what: 'The audit trail does not verify.',
    why: '{detail}',
    todo: 'Keep this export and the last good checkpoint, and find out who wrote to it.',
  },
  GB_ALREADY_RUNNING: {
    status: 409,
    exit: 75,
    what: 'Glovebox is running already (process {pid}).',
    why: 'One control plane owns {path} at a time.',
    todo: 'Use it as it is, or end it with `glovebox down` first.',
  },
  GB_AUDIT_UNAVAILABLE: {
    status: 503,
    exit: 75,
    what: 'The operation was not carried out.',
    why: 'Its intent could not be stored in the audit trail: {detail}',
    todo: 'Run `glovebox doctor`; the operation can be tried again once the bus is up.',
  },
  GB_BODY_TOO_LARGE: {
    status: 413,
    exit: 65,
    what: 'The request is too large.',
    why: '{detail}',
    todo: 'Send less at once; see docs/limits.md.',
  },
  GB_BROWSER_LOGIN: {
    status: 401,
    exit: 77,
    what: 'Refused: nobody is logged in here.',
    why: '{detail}',
    todo: 'Run `glovebox console`, and open the address that it prints.',
  },
  GB_BUS_REFUSED: {
    status: 403,
    exit: 77,
    what: 'The bus refused {operation} on {subject}.',
    why: 'The subject registry does not permit it to this identity.',
    todo: 'See docs/subjects.md.',
  },
  GB_BUS_UNAVAILABLE: {
    status: 503,
    exit: 69,
    what: 'The bus is not available.',
    why: '{detail}',
    todo: 'Run `glovebox doctor`; look at the daemon log.',
  },
  GB_CA_ROTATING: {
    status: 409,
    exit: 65,
    what: 'The root is being replaced already.',
    why: 'The next step, {step}, follows by itself at {at}, once every certificate that is older has ended.',
    todo: 'Run `glovebox ca show`.',
  },
  GB_CALLER_MISMATCH: {
    status: 403,
    exit: 77,
    what: 'Refused: the request names {named}, but it came from {caller}.',
    why: 'Who is calling is proven by the connection, never by what the request says.',
    todo: 'Leave the id out, or use your own.',
  },
  GB_CALLER_REFUSED: {
    status: 403,
    exit: 77,
    what: 'Refused: {operation} is not for this caller.',
    why: 'The route registry allows it to {allowed} only.',
    todo: 'Use an operation that this identity may call.',
  },
  GB_COMMAND_NOT_EXECUTABLE: {
    status: 400,
    exit: 126,
    what: 'The command {command} cannot be run.',
    why: '{detail}',
    todo: '{todo}',
  },
  GB_COMMAND_NOT_FOUND: {
    status: 400,
    exit: 127,
    what: 'There is no command {command} to run.',
    why: '{detail}',
    todo: '{todo}',
  },
  GB_CONSENT_DENIED: {
    status: 403,
    exit: 77,
    what: 'Refused: {scope} was denied.',
    why: '{detail}',
    todo: 'Do without it, or explain the need to the person and ask again later.',
  },
  GB_CONSENT_REQUIRED: {
    status: 403,
    exit: 77,
    what: 'Refused for now: {scope} needs consent.',
    why: 'Nothing is granted at the start of a session; rule: {rule}.',
    todo: 'Call request_permission with this scope and a reason.',
  },
  GB_CREDENTIAL_UNAVAILABLE: {
    status: 502,
    exit: 69,
    what: 'The credential {name} could not be had.',
    why: '{detail}',
    todo: 'The request was not sent. If the service withdrew it, set it anew: `glovebox secret set {name} --kind {kind}`.',
  },
  GB_DAEMON_UNREACHABLE: {
    status: 503,
    exit: 69,
    what: 'Glovebox is not running.',
    why: '{detail}',
    todo: 'Run `glovebox up`.',
  },
  GB_EGRESS_DENIED: {
    status: 403,
    exit: 77,
    what: 'Refused: {target}.',
    why: '{detail}; rule: {rule}.',
    todo: '{todo}',
  },
  GB_GRANT_REVOKED: {
    status: 403,
    exit: 77,
    what: 'Cut off: the consent to {scope} was taken back.',
    why: 'A person revoked it while the call was under way; what became of the call is recorded as unknown.',
    todo: 'Do without it, or explain the need to the person and ask again.',
  },
  GB_HOST_UNFIT: {
    status: 412,
    exit: 78,
    what: 'This host lacks {missing}.',
    why: '{detail}',
    todo: '{todo}',
  },
  GB_IDENTITY_REFUSED: {
    status: 403,
    exit: 77,
    what: 'Refused: the peer did not prove an identity of this trust domain.',
    why: '{detail}',
    todo: 'Connect with a certificate that Glovebox issued and that has not ended.',
  },
  GB_IDENTITY_REVOKED: {
    status: 403,
    exit: 77,
    what: 'Refused: the identity {identity} is revoked.',
    why: '{detail}',
    todo: 'Start the workload again; it gets a new identity.',
  },
  GB_IMAGE_REFUSED: {
    status: 422,
    exit: 65,
    what: 'The image {image} was refused.',
    why: '{detail}',
    todo: 'Nothing of it was kept. Use another image, or build this one anew.',
  },
  GB_IMAGE_UNAVAILABLE: {
    status: 502,
    exit: 69,
    what: 'The image {image} cannot be had.',
    why: '{detail}',
    todo: '{todo}',
  },
  GB_INPUT_INVALID: {
    status: 400,
    exit: 64,
    what: '{what} is not valid.',
    why: '{detail}',
    todo: 'Correct it and try again; nothing was changed.',
  },
  GB_INTERNAL: {
    status: 500,
    exit: 70,
    what: 'Something failed inside Glovebox.',
    why: '{detail}',
    todo: 'Nothing was granted. Please report it with the daemon log.',
  },
  GB_KEYS_DAMAGED: {
    status: 500,
    exit: 78,
    what: 'The signing keys cannot be used.',
    why: '{detail}',
    todo: 'Put the keys folder back from a copy, or move it away to start with a new root CA.',
  },
  GB_KEYS_UNSAFE: {
    status: 500,
    exit: 78,
    what: '{path} is not private.',
    why: '{detail}',
    todo: 'If nobody else can have read the keys: chmod 700 the folder, 600 its files. Otherwise move it away to start with a new root CA.',
  },
  GB_KEY_IN_ENVIRONMENT: {
    status: 400,
    exit: 64,
    what: 'Refused: the value of {name} looks like {looks}.',
    why: 'The agent could read it; a secret stays at the gateway, and the sandbox gets a placeholder.',
    todo: 'Run `glovebox secret set NAME`, then `--env {name}=secret:NAME`; `--env-plain {name}=…` if it is no secret.',
  },
  GB_LIMIT_REACHED: {
    status: 429,
    exit: 75,
    what: 'The limit {limit} is reached.',
    why: '{detail}',
    todo: 'See docs/limits.md for what it bounds.',
  },
  GB_NOT_FOUND: {
    status: 404,
    exit: 66,
    what: 'There is no {what}.',
    why: '{detail}',
    todo: 'List what there is and try again.',
  },
  GB_POLICY_DENIED: {
    status: 403,
    exit: 77,
    what: 'Refused: {operation}.',
    why: 'The policy decided so; rule: {rule}.',
    todo: '{todo}',
  },
  GB_POLICY_FIXED: {
    status: 409,
    exit: 65,
    what: 'The policy was not changed: it differs in {keys}.',
    why: 'These hold from a session’s start to its end; a running session takes new tools, egress rules and scopes only.',
    todo: 'Leave these as `glovebox policy show` says them, or start a new session with this policy.',
  },
  GB_POLICY_INVALID: {
    status: 400,
    exit: 65,
    what: '{file}:{line}:{column}: {detail}',
    why: 'A policy is read whole or not at all.',
    todo: '{todo}',
  },
  GB_POLICY_PENDING: {
    status: 504,
    exit: 75,
    what: 'The policy is stored as generation {generation}, and the session does not apply it yet.',
    why: '{detail}',
    todo: 'Look at `glovebox policy show`; `glovebox stop` ends the session if the old policy must not hold.',
  },
  GB_PROVIDER_GONE: {
    status: 502,
    exit: 69,
    what: 'The {domain} provider ended while the call was under way.',
    why: 'Whether the call took effect is not known; it is recorded as unknown.',
    todo: 'Look at what the call would have changed before it is made again; the provider is being started anew.',
  },
  GB_SANDBOX_START: {
    status: 500,
    exit: 70,
    what: 'The sandbox did not start.',
    why: '{detail}',
    todo: 'Run `glovebox doctor`; nothing was left behind.',
  },
  GB_SECRET_DAMAGED: {
    status: 500,
    exit: 70,
    what: 'The stored secret {name} cannot be opened.',
    why: '{detail}',
    todo: 'Set it again with `glovebox secret set`.',
  },
  GB_SECRET_MISSING: {
    status: 412,
    exit: 78,
    what: 'The secret {name} is not set.',
    why: '{detail}',
    todo: 'Run `glovebox secret set {name}`, then run this again.',
  },
  GB_SECRET_REFUSED: {
    status: 403,
    exit: 77,
    what: 'Refused: the secret was not handed out.',
    why: '{detail}',
    todo: 'A sidecar reads a secret of its own session, for an intent that it has just stored.',
  },
  GB_SESSION_STATE: {
    status: 409,
    exit: 75,
    what: 'The session is {state}; {operation} needs it to be {needed}.',
    why: 'A session goes through its states in one direction.',
    todo: 'Look at `glovebox ps`.',
  },
  GB_SIGNER_UNAVAILABLE: {
    status: 503,
    exit: 69,
    what: 'The signer did not answer.',
    why: '{detail}',
    todo: 'Nothing was signed. Run `glovebox down` and `glovebox up`.',
  },
  GB_SPEC_REFUSED: {
    status: 400,
    exit: 70,
    what: 'The sandbox was not started: its specification is below the floor.',
    why: '{detail}',
    todo: 'The floor has no off switch; ask for mounts and sizes that its closed list has.',
  },
  GB_STATE_REFUSED: {
    status: 500,
    exit: 78,
    what: '{path} was not opened.',
    why: '{detail}',
    todo: '{todo}',
  },
  GB_STORE_CONFLICT: {
    status: 409,
    exit: 75,
    what: 'Nothing was written: another replica was first.',
    why: '{detail}',
    todo: 'It is tried again from where the store is now.',
  },
  GB_STORE_UNAVAILABLE: {
    status: 503,
    exit: 69,
    what: 'The store ({path}) is not available.',
    why: '{detail}',
    todo: 'Look at the database server; what was asked for was not done, or is written down as unknown.',
  },
  GB_TOKEN_INVALID: {
    status: 403,
    exit: 77,
    what: 'Refused: this token is not good here.',
    why: '{detail}',
    todo: 'Ask for a new one.',
  },
  GB_TOKEN_REPLAYED: {
    status: 409,
    exit: 77,
    what: 'Refused: this token was used before.',
    why: 'Every token is good for one use.',
    todo: 'Ask for a new one.',
  },
  GB_TOOL_FAILED: {
    status: 422,
    exit: 65,
    what: '{tool} did not succeed: {reason}.',
    why: '{detail}',
    todo: 'Correct the arguments, or do without it.',
  },
  GB_UPSTREAM_FAILED: {
    status: 502,
    exit: 69,
    what: '{what} did not answer as it should.',
    why: '{detail}',
    todo: 'Try again; the outcome is recorded in the audit trail.',
  },
  GB_USAGE: {
    status: 400,
    exit: 64,
    what: 'That command line is not understood: {detail}.',
    why: '{hint}',
    todo: 'See `glovebox --help`, or `glovebox COMMAND --help`.',
  },
  GB_WORKSPACE_REFUSED: {
    status: 400,
    exit: 65,
    what: '{path} cannot be a workspace.',
    why: '{detail}',
    todo: 'Change into the folder of one project and run it there.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCatalogue;
export type ErrorDetails = Readonly<Record<string, string | number>>;

/** What travels: `application/json`, at most 16 KiB. */
export interface ErrorBody {
  readonly error: {
    readonly code: ErrorCode;
    readonly what: string;
    readonly why: string;
    readonly todo: string;
    /** The scope to ask consent for, where consent would help. */
    readonly scope?: string;
    /** Of a refusal by the egress policy: the rule that refused. */
    readonly rule?: string;
    /** The smallest egress rule that would let the request through: what to ask the person for. */
    readonly needs?: {
      readonly host: string;
      readonly port: number;
      readonly method?: string;
      readonly path?: string;
    };
  };
}

const fill = (template: string, details: ErrorDetails): string =>
  template.replace(/\{(\w+)\}/g, (_, name: string) => printable(String(details[name] ?? 'unknown')));

/** Control and bidirectional characters of a detail cannot shape a terminal or forge a log line (R41). */
const printable = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`)
    .slice(0, 2000);

export class GloveboxError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  readonly what: string;
  readonly why: string;
  readonly todo: string;

  constructor(code: ErrorCode, details: ErrorDetails = {}, options?: ErrorOptions) {
    const entry: ErrorEntry = errorCatalogue[code];
    const what = fill(entry.what, details);
    super(`${code}: ${what}`, options);
    this.name = 'GloveboxError';
    this.code = code;
    this.details = details;
    this.what = what;
    this.why = fill(entry.why, details);
    this.todo = fill(entry.todo, details);
  }

  get status(): number {
    return errorCatalogue[this.code].status;
  }

  get exitCode(): number {
    return errorCatalogue[this.code].exit;
  }

  toBody(): ErrorBody {
    const scope = this.code === 'GB_CONSENT_REQUIRED' ? this.details['scope'] : undefined;
    return {
      error: {
        code: this.code,
        what: this.what,
        why: this.why,
        todo: this.todo,
        ...(typeof scope === 'string' ? { scope } : {}),
        ...this.#refused(),
      },
    };
  }

  /** By which rule the way out is closed, and the smallest one that would open it. */
  #refused(): Pick<ErrorBody['error'], 'rule' | 'needs'> {
    const { rule, host, port, method, path } = this.details;
    if (this.code !== 'GB_EGRESS_DENIED') return {};
    return {
      ...(typeof rule === 'string' ? { rule } : {}),
      ...(typeof host !== 'string'
        ? {}
        : {
            needs: {
              host: printable(host),
              port: numbered(port),
              ...(typeof method === 'string' ? { method: printable(method) } : {}),
              ...(typeof path === 'string' ? { path: printable(path) } : {}),
            },
          }),
    };
  }
}

const numbered = (value: string | number | undefined): number => (typeof value === 'number' ? value : 0);

/** Any thrown value as a catalogued error. What is unknown becomes GB_INTERNAL without its message: it may hold a secret. */
export function asGloveboxError(thrown: unknown): GloveboxError {
  if (thrown instanceof GloveboxError) return thrown;
  const name = thrown instanceof Error ? thrown.name : typeof thrown;
  return new GloveboxError('GB_INTERNAL', { detail: `an unexpected ${name}` }, { cause: thrown });
}
