const DAYS =
  "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))";
const DATE = `[12]\\d{3}-${DAYS}`;
const TIME =
  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+\\-](?:0\\d|1[0-4]):[0-5]\\d)";
const BYTE = "(?:25[0-5]|2[0-4]\\d|1\\d{2}|[1-9]?\\d)";
const LABEL = "[a-z0-9](?:[a-z0-9\\-]{0,30}[a-z0-9])?";
const HEX = "[0-9a-f]";

/**
 * Patterns of the formats that JSON schemas name. What they let through is of the format; not all of a format is let
 * through: the 29th of February is not, nor is an IPv6 address with a gap.
 */
export const FORMAT_PATTERNS: Readonly<Record<string, string>> = {
  date: `^${DATE}$`,
  time: `^${TIME}$`,
  "date-time": `^${DATE}T${TIME}$`,
  duration:
    "^P(?:\\d{1,4}W|(?:\\d{1,4}D|\\d{1,4}M(?:\\d{1,4}D)?|\\d{1,4}Y(?:\\d{1,4}M(?:\\d{1,4}D)?)?)(?:T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))?|T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))$",
  uuid: `^${HEX}{8}-${HEX}{4}-[1-5]${HEX}{3}-[89ab]${HEX}{3}-${HEX}{12}$`,
  email: `^[a-z0-9]+(?:[._+\\-][a-z0-9]+)*@${LABEL}(?:\\.${LABEL})*\\.[a-z]{2,10}$`,
  hostname: `^${LABEL}(?:\\.${LABEL}){0,5}$`,
  ipv4: `^${BYTE}(?:\\.${BYTE}){3}$`,
  ipv6: `^${HEX}{1,4}(?::${HEX}{1,4}){7}$`,
};
