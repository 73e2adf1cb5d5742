package busembed

import (
	"fmt"
	"log/slog"
	"strings"
)

// logger passes the server's log on. Notices are the server's banner, so they have the level debug.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Fatalf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Errorf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Debugf(f string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Tracef(f string, v ...any)  { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }

// Warnf leaves the answers to health checks out, which watch reports itself.
func (l logger) Warnf(f string, v ...any) {
	if !strings.HasPrefix(f, "Healthcheck") {
		l.log.Warn("nats: " + fmt.Sprintf(f, v...))
	}
}
