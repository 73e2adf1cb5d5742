package busembed

import "testing"

// TestAcknowledgedIsOnDisk checks that the server flushes before it acknowledges. By default JetStream acknowledges first and
// flushes every two minutes, so that a power cut loses acknowledged messages.
func TestAcknowledgedIsOnDisk(t *testing.T) {
	t.Parallel()
	s, err := Start(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if cfg := s.ns.JetStreamConfig(); cfg == nil || !cfg.SyncAlways {
		t.Error("JetStream does not sync before it acknowledges")
	}
}
