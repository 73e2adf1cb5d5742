package ispsystem

import (
	"fmt"
	"strings"

	"slipway.dev/gateway/internal/rest"
	"slipway.dev/gateway/internal/where"
)

type object = map[string]any

// document returns the parts of the OpenAPI document besides the routes.
func document() rest.Document {
	return rest.Document{
		Title:   "Slipway, VMmanager 6 dialect",
		Version: "1",
		Description: "Every path also answers under /api. Bodies are JSON, whatever Content-Type says. " +
			"Fields that are not listed here are ignored; a listed field that asks for what is not available is refused.",
		Servers:  []string{"/", "/api"},
		Path:     "/openapi.json",
		Security: schemes(),
		Lists:    parameters(),
		Repeat: "Text that no other request of the account has within a day, such as a UUID. A repeat with the same " +
			"key and the same body has no effect and gets the first answer; with another body it is refused (90020). A refused request may be repeated.",
		Error: errorSchema,
	}
}

func parameters() []rest.Parameter {
	return []rest.Parameter{
		{Name: where.ParamWhere, Description: "Condition. Operators EQ NE GT GE LT LE CP (pattern with %), IS null, IS NOT null; " +
			"AND, OR, NOT, brackets; text in single quotes. Several where parameters must all hold.", Example: "(name CP 'web%') AND (account.id EQ 3)"},
		{Name: where.ParamOrder, Description: "Fields with asc or desc, separated by commas. Default: id asc.", Example: "cluster.name desc"},
		{Name: where.ParamLimit, Description: "Number of rows, or first row (from 0) and number. " +
			"Default: every row. An export has all rows, regardless of the limit.", Example: "0,50"},
		{Name: where.ParamFields, Description: "Fields of the items in the answer, separated by commas, " +
			"dotted for fields of nested objects. Default: all.", Example: "id,name,cluster.name"},
		{Name: where.ParamCursor, Description: "Pages of constant cost at any depth, in which no row is missing or duplicated " +
			"when other rows are added or removed. Empty for the first page, then next of the previous page, with the same where and orderby. " +
			"Cannot be combined with a first row in limit.", Example: ""},
		{Name: where.ParamExplain, Description: "1: the answer explains how the list is read, as {\"explain\": …}: the parsed filter, " +
			"the SQL, and PostgreSQL's plan. For administrators.", Example: "1"},
		{Name: where.ParamCount, Description: "0: do not count all rows; size is then 0.", Example: "0"},
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
				"msg":  object{"type": "string", "description": "A message for people."},
				"value": object{
					"type": "object", "additionalProperties": object{"type": "string"},
					"properties": object{
						"reason":  object{"type": "string", "description": "A stable identifier of the reason, such as NOT_FOUND."},
						"field":   object{"type": "string", "description": "The field or parameter at fault."},
						"request": object{"type": "string", "description": "Id of the request, for a search in the log."},
					},
				},
			},
		}},
	}
}
