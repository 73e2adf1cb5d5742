package bus

import "strings"

// matches reports whether a subject is one of those that patterns stand for, as NATS reads patterns: "*" is one word, ">" is all
// further words. No pattern stands for every subject.
func matches(patterns []string, subject string) bool {
	for _, p := range patterns {
		if match(strings.Split(p, "."), strings.Split(subject, ".")) {
			return true
		}
	}
	return len(patterns) == 0
}

func match(pattern, words []string) bool {
	for i, p := range pattern {
		switch {
		case p == ">":
			return len(words) > i
		case i >= len(words), p != "*" && p != words[i]:
			return false
		}
	}
	return len(words) == len(pattern)
}
