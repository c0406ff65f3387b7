package rpc

import "strings"

// brokenRule is what people are told of a field that breaks its rule.
type brokenRule struct{ en, ja string }

// ruleOf says what is wrong with a field by the id of its rule, such as
// "string.max_len". The validator's own words are English and show regular
// expressions; the description of the API has the exact rules.
func ruleOf(id string) brokenRule {
	switch _, rule, _ := strings.Cut(id, "."); {
	case id == "required":
		return brokenRule{"is missing", "がありません"}
	case strings.HasSuffix(rule, "_empty"), strings.HasPrefix(rule, "min_"):
		return brokenRule{"is too short or empty", "が空か、短すぎます"}
	case id == "repeated.max_items":
		return brokenRule{"has too many entries", "の件数が多すぎます"}
	case strings.HasPrefix(rule, "max_"):
		return brokenRule{"is too long", "が長すぎます"}
	case rule == "len", rule == "len_bytes":
		return brokenRule{"has the wrong length", "の長さが正しくありません"}
	case rule == "pattern", rule == "prefix", rule == "not_contains":
		return brokenRule{"contains characters that are not allowed here", "に使えない文字があります"}
	case rule == "defined_only", rule == "not_in", rule == "in", rule == "const":
		return brokenRule{"is not one of the allowed values", "が許可された値ではありません"}
	case strings.HasPrefix(rule, "lt"), strings.HasPrefix(rule, "gt"):
		return brokenRule{"is out of range", "が範囲外です"}
	}
	return brokenRule{"breaks its rule", "が規則に反しています"}
}
