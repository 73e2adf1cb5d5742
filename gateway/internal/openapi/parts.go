package openapi

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/idem"

	"slipway.dev/gateway/internal/vmmanager"
	"slipway.dev/gateway/internal/where"
)

func tags(files []protoreflect.FileDescriptor) []object {
	var all []object
	for _, f := range files {
		for i := range f.Services().Len() {
			tag := object{"name": string(f.Services().Get(i).Name())}
			describe(tag, f.Services().Get(i))
			all = append(all, tag)
		}
	}
	return all
}

const onceParameter = "Idempotency-Key"

func parameters() object {
	text := func(name, description, example string) object {
		return object{
			"name": name, "in": "query", "description": description, "example": example, "schema": object{"type": "string"},
		}
	}
	return object{
		onceParameter: object{
			"name": onceParameter, "in": "header", "schema": object{"type": "string", "minLength": 1, "maxLength": idem.MaxKey},
			"description": "Any text that no other request of the account has within a day, a UUID for instance. A repeat with the same " +
				"key and the same body does nothing and gets the first answer; with another body it is refused (90020). What was refused may be repeated.",
		},
		where.ParamWhere: text(where.ParamWhere, "Condition. Operators EQ NE GT GE LT LE CP (pattern with %), IS null, IS NOT null; "+
			"AND, OR, NOT, brackets; text in single quotes. Several where parameters must all hold.", "(name CP 'web%') AND (account.id EQ 3)"),
		where.ParamOrder: text(where.ParamOrder, "Fields with asc or desc, separated by commas. Default: id asc.", "cluster.name desc"),
		where.ParamLimit: text(where.ParamLimit, "Number of rows, or first row (from 0) and number. An export has all rows, whatever the limit.", "0,50"),
		where.ParamFields: text(where.ParamFields, "Fields of the items that the answer shall have, separated by commas, "+
			"dotted for those of objects in them. Default: all.", "id,name,cluster.name"),
		where.ParamCursor: text(where.ParamCursor, "Pages that cost the same however deep they are, and in which no row is missed or comes twice "+
			"because others come and go. Empty for the first page, then what the page before has as next, with the same where and orderby. "+
			"Not together with a first row in limit.", ""),
		where.ParamExplain: text(where.ParamExplain, "1 answers how the list is read, as {\"explain\": …}: the filter as it was understood, "+
			"the SQL, and what PostgreSQL did. For administrators.", "1"),
		where.ParamCount: text(where.ParamCount, "0 leaves out the number of all rows: size is 0 then.", "0"),
	}
}

func securitySchemes() object {
	return object{
		"x-xsrf-token": object{
			"type": "apiKey", "in": "header", "name": "x-xsrf-token", "description": "The token of POST /auth/v4/public/token. " +
				"The headers X-Auth-Token, ses6 and ISP-Session and the cookies x-xsrf-token and token carry it as well.",
		},
		"bearer": object{"type": "http", "scheme": "bearer"},
		"ses6":   object{"type": "apiKey", "in": "cookie", "name": "ses6"},
	}
}

func errorSchema() object {
	var lines []string
	seen := map[string]bool{}
	for _, k := range vmmanager.Errors {
		line := fmt.Sprintf("- %d (HTTP %d): %s", k.Number, k.HTTP, k.Meaning)
		if !seen[line] {
			lines = append(lines, line)
		}
		seen[line] = true
	}
	return object{
		"type":     "object",
		"required": []string{"error"},
		"properties": object{"error": object{
			"type":     "object",
			"required": []string{"code", "msg", "value"},
			"properties": object{
				"code": object{"type": "integer", "format": "int32", "description": strings.Join(lines, "\n")},
				"msg":  object{"type": "string", "description": "For people."},
				"value": object{
					"type": "object", "additionalProperties": object{"type": "string"},
					"properties": object{
						"reason":  object{"type": "string", "description": "A word that never changes, such as NOT_FOUND."},
						"field":   object{"type": "string", "description": "The field or parameter that is wrong."},
						"request": object{"type": "string", "description": "Id of the request, to be found in the log."},
					},
				},
			},
		}},
	}
}
