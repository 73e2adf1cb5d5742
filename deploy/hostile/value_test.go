package hostile

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Values that no field accepts, as JSON.
var (
	many = func(one string) string { return "[" + strings.Repeat(one+",", 9_999) + one + "]" }
	deep = strings.Repeat(`{"a":[`, 200) + strings.Repeat(`]}`, 200)

	texts = []string{
		`""`, `" "`, `"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"\u202e\u2066"`, `"😀 é ﷽ İ ß"`, `"\r\nSet-Cookie: a=b"`, `"\u0085\u2028"`,
		`"'; DROP TABLE host; --"`, `"%' OR '1'='1"`, `"$1"`, `"$$"`, `"%_\\"`, `"../../../../etc/passwd"`, `"file:///etc/passwd"`,
		`"http://169.254.169.254/"`, `"{{7*7}}${7*7}<%= 7*7 %>"`, `"<script>alert(1)</script>"`, `"</name><devices>"`,
		`"-oProxyCommand=x"`, `"$(id)` + "`id`" + `;id|id"`, `"\nruncmd: [id]"`, `"` + strings.Repeat("a", 70_000) + `"`,
		`"` + strings.Repeat("é", 300) + `"`, `"0"`, `"-1"`, `"1e400"`, `"null"`, `"true"`, `"NaN"`,
	}
	numbers = []string{
		`0`, `-1`, `1`, `2147483647`, `2147483648`, `-2147483648`, `-2147483649`, `9223372036854775808`, `1e309`, `-1e-400`, `1.5`,
		`0.1e1`, `1e2147483647`, strings.Repeat("9", 400),
	}
	others = []string{`null`, `true`, `false`, `{}`, `[]`, `[null]`, `[[]]`, `{"":""}`, `{"a":{"b":null}}`, deep}
)

// values are hostile values for a field: those of other types, and the edges of its own.
func values(fd protoreflect.FieldDescriptor) []string {
	list := append(append(append([]string{}, others...), texts...), numbers...)
	if fd.IsList() {
		list = append(list, many("0"), many(`"a"`), many("{}"), many("null"), `[1,1]`, `["a","a"]`)
		for _, v := range append(texts, numbers...) {
			list = append(list, "["+v+"]")
		}
	}
	if md := fd.Message(); md != nil && md.ParentFile().Package() != "google.protobuf" {
		for i := range md.Fields().Len() {
			sub := md.Fields().Get(i)
			for _, v := range append(append(append([]string{}, others...), texts...), numbers...) {
				one := fmt.Sprintf(`{%q:%s}`, sub.Name(), v)
				if fd.IsList() {
					one = "[" + one + "]"
				}
				list = append(list, one)
			}
		}
	}
	return list
}

// bodies are hostile as wholes.
var bodies = []string{
	``, `null`, `[]`, `{}`, `[1]`, `"x"`, `1`, `{`, `}`, `{"`, `{"a"}`, `{"name":"a","name":"b"}`, `{"a":1}{"b":2}`, "\xff\xfe", "\xef\xbb\xbf{}",
	"{\"name\":\"\xc3\x28\"}", strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), deep, strings.Repeat(" ", 1<<20) + "{}",
	"\x00", "name=a&os=1", "<host/>", `{"__proto__":{"admin":true}}`, `{"constructor":null}`,
}

// ids are hostile ids in a path. Numbers among them name no object.
var ids = []string{
	"0", "-1", "999999", "2147483647", "2147483648", "99999999999999999999", "abc", "1.5", "1e3", "+999999", "0xF423F", "%20", "%00", "%2e%2e", "..%2f..",
	"%27%20OR%201%3D1", "%25", "_", "%F0%9F%98%80", "%D9%A1", "%C3%28", "true", "null", "%7B%7D", strings.Repeat("9", 5000), "1;DROP%20TABLE%20host",
}

// queries are hostile conditions and pages.
var queries = []string{
	"where=", "where=(", "where=)", "where=name", "where=name+EQ", "where=name+EQ+'", "where=name+EQ+'a", "where=name+XX+1", "where=%00", "where=%FF",
	"where=name+CP+'%25'", "where=name+CP+'%25%25%25%25%25%25%25%25%25%25%25%25%25%25%25%25a'", "where=password_hash+CP+'%25'", "where=id+EQ+99999999999999999999",
	"where=id+EQ+'1'+OR+1%3D1", "where=id+EQ+1;DROP+TABLE+host", "where=1+EQ+1", "where=account.password+GT+'a'", "where=roles+EQ+null",
	"where=id+IS+null", "where=id+IS+NOT+null", "where=name+GT+5", "where=id+LE+-2147483649", "where=id+EQ+1.5", "where=id+EQ+1e400",
	"where=" + strings.Repeat("(", 3000), "where=" + strings.Repeat("NOT+", 2000) + "id+EQ+1", "where=id+EQ+1" + strings.Repeat("+OR+id+EQ+1", 900),
	"orderby=", "orderby=nothing", "orderby=id;DROP", "orderby=id+asc,id+desc", "orderby=id+sideways", "orderby=" + strings.Repeat("id,", 4000),
	"orderby=(SELECT+1)", "limit=", "limit=-1", "limit=0", "limit=0,0", "limit=0,999999999", "limit=99999999999", "limit=2147483647,2147483647",
	"limit=a", "limit=1,2,3", "limit=1e3", "limit=-1,-1", "limit=%00", "limit=18446744073709551616", "a=b&a=c", "%00=%00", "where[]=1", "query.where=1",
	"id=1&id=2", "%", "%zz", "&&&;;;", strings.Repeat("a", 20_000),
}
