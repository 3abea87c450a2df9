/** The certificates of a PEM text and nothing else of it; null: there are none. A file that also holds a key must not travel on. */
export function certificatesIn(text: string): string | null {
  const found = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g);
  return found === null ? null : `${found.join('\n')}\n`;
}
