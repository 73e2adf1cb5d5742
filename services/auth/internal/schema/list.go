package schema

// LastNotify is SQL for the number of the last change of the rows that lists show: last_notify of their envelopes.
const LastNotify = `(SELECT (last_value & 2147483647)::integer FROM notify)`
