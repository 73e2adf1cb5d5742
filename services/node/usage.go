package node

import (
	"context"
	"strconv"

	"slipway.dev/pkg/obs"
	"slipway.dev/services/node/internal/hyper"
)

// What the machines of the node use: "machine" is the UUID of the host, "host" its id. Directions are the guest's.
var (
	machineCPU     = obs.Desc("slipway_machine_cpu_seconds_total", "Time that all CPUs of the machine ran.", "machine", "host")
	machineCPUs    = obs.Desc("slipway_machine_cpus", "CPUs of the machine.", "machine", "host")
	machineMemory  = obs.Desc("slipway_machine_memory_bytes", "Memory of the machine.", "machine", "host")
	machineUsed    = obs.Desc("slipway_machine_memory_used_bytes", "Memory that the guest uses, or that the machine occupies on the node if the guest does not say.", "machine", "host")
	machineRead    = obs.Desc("slipway_machine_disk_read_bytes_total", "Bytes that the guest read.", "machine", "host", "disk")
	machineWritten = obs.Desc("slipway_machine_disk_written_bytes_total", "Bytes that the guest wrote.", "machine", "host", "disk")
	machineReads   = obs.Desc("slipway_machine_disk_reads_total", "Requests to read.", "machine", "host", "disk")
	machineWrites  = obs.Desc("slipway_machine_disk_writes_total", "Requests to write.", "machine", "host", "disk")
	machineIn      = obs.Desc("slipway_machine_network_received_bytes_total", "Bytes that the guest received.", "machine", "host", "card")
	machineOut     = obs.Desc("slipway_machine_network_sent_bytes_total", "Bytes that the guest sent.", "machine", "host", "card")
	machineInPkts  = obs.Desc("slipway_machine_network_received_packets_total", "Packets that the guest received.", "machine", "host", "card")
	machineOutPkts = obs.Desc("slipway_machine_network_sent_packets_total", "Packets that the guest sent.", "machine", "host", "card")
)

// usage samples all machines of the node at a scrape.
func (s *Service) usage(ctx context.Context, gauge, counter obs.Set) error {
	list, err := s.driver.Usage(ctx)
	for _, u := range list {
		usage(u, gauge, counter)
	}
	return err
}

func usage(u hyper.Usage, gauge, counter obs.Set) {
	of := []string{u.UUID.String(), strconv.Itoa(int(u.HostID))}
	counter(machineCPU, u.CPU.Seconds(), of...)
	gauge(machineCPUs, float64(u.CPUs), of...)
	gauge(machineMemory, float64(u.Memory.Total), of...)
	gauge(machineUsed, float64(u.Memory.Used), of...)
	for _, d := range u.Disks {
		of := append(of[:2:2], d.Name)
		counter(machineRead, float64(d.Read), of...)
		counter(machineWritten, float64(d.Written), of...)
		counter(machineReads, float64(d.Reads), of...)
		counter(machineWrites, float64(d.Writes), of...)
	}
	for i, c := range u.Cards {
		of := append(of[:2:2], strconv.Itoa(i))
		counter(machineIn, float64(c.Received), of...)
		counter(machineOut, float64(c.Sent), of...)
		counter(machineInPkts, float64(c.ReceivedPackets), of...)
		counter(machineOutPkts, float64(c.SentPackets), of...)
	}
}
