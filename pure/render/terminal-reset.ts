/** What puts a terminal in a known state, so that nothing an agent set can hide, move or answer what is shown next (R47). */
const esc = '\u001b';
const csi = `${esc}[`;

/** `alternate`: whether the agent left the terminal on its alternate screen (leaving it when not there would move the cursor). */
export function terminalReset(alternate: boolean): string {
  return [
    // Strings and sequences that were cut short end here.
    `${esc}\\`,
    `${csi}?2026l`,
    alternate ? `${csi}?1049l` : '',
    // Soft reset: margins, origin and insert mode, character sets, attributes.
    `${csi}!p`,
    `${csi}?1000l${csi}?1001l${csi}?1002l${csi}?1003l${csi}?1004l${csi}?1005l${csi}?1006l${csi}?1015l${csi}?1016l`,
    `${csi}?2004l`,
    `${csi}?1l${esc}>`,
    `${csi}4l${csi}20l`,
    `${csi}=0u${csi}>4m`,
    `${esc}(B\u000f`,
    `${csi}?7h${csi}?25h`,
    // A link that was left open would be drawn over our words.
    `${esc}]8;;${esc}\\`,
    `${csi}0m`,
  ].join('');
}

/** To the last line and past it: what is written next stands on lines that were blank, whatever the agent drew. */
export const freshLine = `${csi}999;1H\r\n${csi}J`;
