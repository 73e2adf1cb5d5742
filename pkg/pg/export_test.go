package pg

import "net"

// Socket returns the connection that c marks the errors of.
func Socket(c net.Conn) net.Conn { return c.(*wire).Conn }
