package ispsystem

import (
	"fmt"
	"strings"

	"slipway.dev/gateway/internal/rest"
	"slipway.dev/gateway/internal/where"
)

type object = map[string]any

// document is what the OpenAPI document says besides the routes.
func document() rest.Document {
	return rest.Document{
		Title:       "Slipway, VMmanager 6 dialect",
		Version:     "1",
		Description: "Every path also answers under /api. Bodies are JSON, whatever Content-Type says. Unknown fields are ignored.",
		Servers:     []string{"/", "/api"},
		Path:        "/openapi.json",
		Security:    schemes(),
		Lists:       parameters(),
		Repeat: "Any text that no other request of the account has within a day, a UUID for instance. A repeat with the same " +
			"key and the same body does nothing and gets the first answer; with another body it is refused (90020). What was refused may be repeated.",
		Error: errorSchema,
	}
}

func parameters() []rest.Parameter {
	return []rest.Parameter{
		{Name: where.ParamWhere, Description: "Condition. Operators EQ NE GT GE LT LE CP (pattern with %), IS null, IS NOT null; " +
			"AND, OR, NOT, brackets; text in single quotes. Several where parameters must all hold.", Example: "(name CP 'web%') AND (account.id EQ 3)"},
		{Name: where.ParamOrder, Description: "Fields with asc or desc, separated by commas. Default: id asc.", Example: "cluster.name desc"},
		{Name: where.ParamLimit, Description: "Number of rows, or first row (from 0) and number. An export has all rows, whatever the limit.", Example: "0,50"},
		{Name: where.ParamFields, Description: "Fields of the items that the answer shall have, separated by commas, " +
			"dotted for those of objects in them. Default: all.", Example: "id,name,cluster.name"},
		{Name: where.ParamCursor, Description: "Pages that cost the same however deep they are, and in which no row is missed or comes twice " +
			"because others come and go. Empty for the first page, then what the page before has as next, with the same where and orderby. " +
			"Not together with a first row in limit.", Example: ""},
		{Name: where.ParamExplain, Description: "1 answers how the list is read, as {\"explain\": …}: the filter as it was understood, " +
			"the SQL, and what PostgreSQL did. For administrators.", Example: "1"},
		{Name: where.ParamCount, Description: "0 leaves out the number of all rows: size is 0 then.", Example: "0"},
	}
}

func schemes() []rest.Scheme {
	return []rest.Scheme{
		{Name: "x-xsrf-token", Schema: object{
			"type": "apiKey", "in": "header", "name": "x-xsrf-token", "description": "The token of POST /auth/v4/public/token. " +
				"The headers X-Auth-Token, ses6 and ISP-Session and the cookies x-xsrf-token and token carry it as well.",
		}},
		{Name: "bearer", Schema: object{"type": "http", "scheme": "bearer"}},
		{Name: "ses6", Schema: object{"type": "apiKey", "in": "cookie", "name": "ses6"}},
	}
}

func errorSchema() object {
	var lines []string
	seen := map[string]bool{}
	for _, k := range Errors {
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
