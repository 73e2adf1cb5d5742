package schema

// LastNotify is the SQL expression for last_notify of a list: a number that grows with every change of what lists show.
const LastNotify = `(SELECT (last_value & 2147483647)::integer FROM notify)`
