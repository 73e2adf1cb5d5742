package hyper

// Console is a kind of console of a machine.
type Console string

// The consoles of a machine: its display, spoken to by RFB (VNC), and its serial line.
const (
	VNC    Console = "vnc"
	Serial Console = "serial"
)
