import { lookup } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { addressAllowed } from '../../pure/egress/index.ts';

/** All addresses of a name, as text. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** As the host resolves names. */
export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);

/**
 * Resolves once, checks every address, and hands out exactly what was checked: the socket connects to that, so a name whose
 * answer changes in between changes nothing (R18). One refused address refuses the name.
 */
export function checkedLookup(resolve: Resolve, privateRanges: readonly string[]): LookupFunction {
  return (host, options, callback) => {
    resolve(host).then(
      (addresses) => {
        const refused = addresses.find((address) => !addressAllowed(address, privateRanges));
        const checked = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
        const [first] = checked;
        if (refused !== undefined || first === undefined) {
          callback(
            new AddressRefused(
              refused === undefined
                ? 'the name has no address'
                : `it resolves to ${refused}, which is not public`,
            ),
            '',
          );
        } else if (options.all === true) callback(null, checked);
        else callback(null, first.address, first.family);
      },
      (error: unknown) => {
        callback(error instanceof Error ? error : new Error('the name could not be resolved'), '');
      },
    );
  };
}

/** The name leads somewhere that its rule does not allow. */
export class AddressRefused extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'AddressRefused';
  }
}
