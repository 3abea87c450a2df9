import { asGloveboxError, GloveboxError, parseTrustDomain } from '../../pure/contracts/index.ts';
import { CertificateAuthority } from './authority.ts';
import { BusAuthority } from './bus-authority.ts';
import { KeysFolder } from './keys-folder.ts';
import { signerRequest, type SignerRequest, type SignerResponse } from './protocol.ts';
import { checkConsent, TokenKeys } from './tokens.ts';

interface Opened {
  readonly authority: CertificateAuthority;
  readonly tokens: TokenKeys;
  readonly bus: BusAuthority;
}

/** Answers one message of the channel. Holds the keys; nothing that it answers with contains one. */
export class SignerService {
  readonly #now: () => number;
  #opened: Promise<Opened> | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  async answer(message: unknown): Promise<SignerResponse> {
    const parsed = signerRequest.safeParse(message);
    if (!parsed.success) {
      const place = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
      const detail = `${place}: ${parsed.error.issues[0]?.message ?? 'unknown'}`;
      return failed(
        idOf(message),
        new GloveboxError('GB_INPUT_INVALID', { what: 'The signer\u2019s message', detail }),
      );
    }
    try {
      return { id: parsed.data.id, ok: true, result: await this.#carryOut(parsed.data) };
    } catch (error) {
      return failed(parsed.data.id, asGloveboxError(error));
    }
  }

  async #carryOut(request: SignerRequest): Promise<unknown> {
    if (request.method === 'bootstrap') {
      if (this.#opened !== undefined) throw order('it is bootstrapped already');
      this.#opened = open(request.params.keysFolder, request.params.trustDomain, this.#now);
      await this.#opened;
      return {};
    }
    if (this.#opened === undefined) throw order('bootstrap comes first');
    const { authority, tokens, bus } = await this.#opened;
    switch (request.method) {
      case 'issueSvid': {
        const { chainPem, serial, notAfter } = await authority.issue(request.params);
        return { chainPem, serial, notAfter: notAfter.toISOString() };
      }
      case 'bundle':
        return { bundlePem: authority.bundlePem };
      case 'rotateIssuing':
        await authority.rotateIssuing();
        return {};
      case 'rootPhase':
        return { next: authority.rootPhase };
      case 'caCertificates':
        return authority.certificates;
      case 'rotateRoot':
        return { next: await authority.rotateRoot(request.params.step) };
      case 'publicKeys':
        return tokens.publicKeys();
      case 'signConsent': {
        const claims = checkConsent(request.params, authority.trustDomain, this.#now());
        return { token: await tokens.sign('consent', claims) };
      }
      case 'signControl':
        return { token: await tokens.sign('control', request.params) };
      case 'signCheckpoint':
        return { token: await tokens.sign('checkpoint', request.params) };
      case 'busKeys':
        return bus.publicKeys;
      case 'authorizeBus':
        return await bus.answer(request.params);
    }
  }
}

async function open(keysFolder: string, trustDomain: string, now: () => number): Promise<Opened> {
  const domain = parseTrustDomain(trustDomain);
  if (!domain.ok)
    throw new GloveboxError('GB_INPUT_INVALID', { what: 'The trust domain', detail: domain.reason });
  const folder = KeysFolder.open(keysFolder);
  const authority = await CertificateAuthority.open(folder, domain.value, now);
  const bus = BusAuthority.open(folder, domain.value, now);
  return { authority, tokens: await TokenKeys.open(folder), bus };
}

const failed = (id: number, error: GloveboxError): SignerResponse => ({
  id,
  ok: false,
  error: { code: error.code, details: { ...error.details } },
});

function idOf(message: unknown): number {
  if (typeof message !== 'object' || message === null || !('id' in message)) return 0;
  return typeof message.id === 'number' && Number.isSafeInteger(message.id) ? message.id : 0;
}

const order = (detail: string): GloveboxError =>
  new GloveboxError('GB_INPUT_INVALID', { what: 'The signer\u2019s message', detail });
