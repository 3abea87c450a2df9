import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import type { AwsSecret, SignedRequest, ToBeSigned } from '../../pure/contracts/index.ts';
import { strictTarget } from '../../pure/egress/index.ts';

const brought = ['authorization', 'x-amz-date', 'x-amz-content-sha256', 'x-amz-security-token'];

/** Signature version 4 over one request, by AWS's own library. Undefined where the target cannot be written in one way only. */
export async function signAws(
  { accessKeyId, secretAccessKey, sessionToken }: AwsSecret,
  request: ToBeSigned,
  nowMs: number,
): Promise<SignedRequest | undefined> {
  const { service, region, method, host, port, headers, payload } = request;
  const strict = strictTarget(request.target);
  if (strict === null) return undefined;
  const signer = new SignatureV4({
    service,
    region,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
    sha256: Sha256,
    // S3 alone takes the path as it is sent; all others encode it once more.
    uriEscapePath: !service.startsWith('s3'),
    applyChecksum: true,
  });
  const query: Record<string, string | string[]> = {};
  for (const [key, value] of strict.query) {
    const before = Object.hasOwn(query, key) ? query[key] : undefined;
    const all = before === undefined ? value : [...(typeof before === 'string' ? [before] : before), value];
    Object.defineProperty(query, key, { value: all, enumerable: true, configurable: true, writable: true });
  }
  const signed = await signer.sign(
    {
      method,
      protocol: 'https:',
      hostname: host,
      path: strict.path,
      query,
      headers: {
        ...Object.fromEntries(headers),
        host: port === 443 ? host : `${host}:${String(port)}`,
        'x-amz-content-sha256': payload,
      },
    },
    { signingDate: new Date(nowMs) },
  );
  return {
    headers: Object.fromEntries(
      brought.flatMap((name) => {
        const value = signed.headers[name];
        return value === undefined ? [] : [[name, value]];
      }),
    ),
    target: strict.target,
  };
}
