/** What the signer signs besides certificates. A verifier checks the typ, so no token is good for another purpose. */
export const purposes = {
  consent: { typ: 'glovebox-consent+jwt' },
  control: { typ: 'glovebox-control+jws' },
  checkpoint: { typ: 'glovebox-checkpoint+jws' },
} as const;

export type Purpose = keyof typeof purposes;
