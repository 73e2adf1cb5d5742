package idem

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"slipway.dev/pkg/fault"
)

// MaxKey is the largest length of a key in bytes.
const MaxKey = 255

// CheckKey returns an error if the key is empty, too long or not printable ASCII.
func CheckKey(key string) error {
	bad := len(key) == 0 || len(key) > MaxKey
	for i := 0; i < len(key) && !bad; i++ {
		bad = key[i] < ' ' || key[i] > '~'
	}
	if bad {
		return fault.Invalid.With("1 to %d printable ASCII characters", MaxKey).On("Idempotency-Key")
	}
	return nil
}

// entry is the row of a request with a key.
type entry struct {
	account int32
	key     []byte
	request []byte
	owner   string
	kept    bool
}

func newEntry(c Call) (*entry, error) {
	if err := CheckKey(c.Key); err != nil {
		return nil, err
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.Request)
	if err != nil {
		return nil, fmt.Errorf("idem: %w", err)
	}
	sum := sha256.Sum256([]byte(c.Key))
	mac := hmac.New(sha256.New, []byte(c.Key))
	fmt.Fprintf(mac, "%s\n", c.Method)
	mac.Write(text)
	return &entry{account: c.Account, key: sum[:], request: mac.Sum(nil), owner: rand.Text()}, nil
}

type entryKey struct{}

// Keep stores the answer in the transaction of the effect. It does nothing if the request of ctx has no key.
func Keep(ctx context.Context, tx pgx.Tx, answer proto.Message) error {
	e, ok := ctx.Value(entryKey{}).(*entry)
	if !ok {
		return nil
	}
	text, err := proto.Marshal(answer)
	if err != nil {
		return fmt.Errorf("idem: %w", err)
	}
	tag, err := tx.Exec(ctx, `
		UPDATE idem SET answer = $4, answer_type = $5 WHERE account_id = $1 AND key = $2 AND owner = $3`,
		e.account, e.key, e.owner, append([]byte{}, text...), string(answer.ProtoReflect().Descriptor().FullName()))
	if err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrUnderWay // this one was so slow that another took over
	}
	e.kept = true
	return nil
}

type keptRow struct {
	Request    []byte
	Owner      string
	AnswerType string `db:"answer_type"`
	Answer     []byte
}

func (r *keptRow) message() (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(r.AnswerType))
	if err != nil {
		return nil, fmt.Errorf("idem: %w", err)
	}
	m := t.New().Interface()
	return m, proto.Unmarshal(r.Answer, m)
}
