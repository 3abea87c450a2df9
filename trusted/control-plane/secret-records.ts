import type { AuditTrail } from './ports.ts';
import type { SecretKeeperOptions } from './secret-keeper.ts';

/** What the secret broker says of itself, as records: whom it refused, and which token endpoint it asked; never a value. */
export function secretRecords(
  audit: AuditTrail,
  note: (message: string, error?: unknown) => void,
): Pick<SecretKeeperOptions, 'onRefused' | 'onAsked'> {
  const record = (event: Parameters<AuditTrail['record']>[0]): void => {
    audit.record(event).catch((error: unknown) => note('what the secret broker did was not recorded', error));
  };
  return {
    onRefused: ({ caller, operation, code, detail }) =>
      record({
        session: 'system',
        operation: `secret-broker.${operation}`,
        decision: 'deny',
        rule: code,
        detail: `${caller}: ${detail}`,
      }),
    onAsked: ({ secret, host, failure }) =>
      record({
        session: 'system',
        operation: 'secret-broker.token',
        decision: 'allow',
        rule: 'secret.set',
        detail: `${secret}, ${host}: ${failure ?? 'a token was had'}`,
      }),
  };
}
