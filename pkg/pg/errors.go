package pg

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// CodeCanceled is the code of a statement that took too long, or was canceled by its caller.
	CodeCanceled = "57014"

	// CodeLockTimeout is the code of a statement that waited too long for a lock.
	CodeLockTimeout = "55P03"

	classConnection = "08"
	classResources  = "53" // a full disk, no memory, too many connections

	codeReadOnly        = "25006"
	codeAdminShutdown   = "57P01"
	codeCrashShutdown   = "57P02"
	codeCannotConnect   = "57P03" // the server starts or stops
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeForeignKey      = "23503"
	codeUnique          = "23505"
	codeExclusion       = "23P01"
	codeDuplicateSchema = "42P06"
)

// Code returns the SQLSTATE of err, or "" if err did not come from the server.
func Code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// IsUnique reports whether err is a violation of this unique constraint or index; "" means any.
func IsUnique(err error, constraint string) bool { return violates(err, codeUnique, constraint) }

// IsForeignKey reports whether err is a violation of this foreign key; "" means any.
func IsForeignKey(err error, constraint string) bool {
	return violates(err, codeForeignKey, constraint)
}

// IsExclusion reports whether err is a violation of this exclusion constraint; "" means any.
func IsExclusion(err error, constraint string) bool { return violates(err, codeExclusion, constraint) }

func violates(err error, code, constraint string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == code && (constraint == "" || e.ConstraintName == constraint)
}
