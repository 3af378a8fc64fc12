// Energy of a DRAM chip's core from its data sheet's currents and counts of commands, per voltage
// domain. What a command costs is its current less the standby current of the same time; standby is
// charged over all of the time.
#pragma once

#include <string>

namespace eden {

// Currents of one supply of a chip in mA, by the names that JEDEC gives the conditions they are
// measured in. IPP currents are those of the domain VPP.
struct DomainCurrents {
  std::string name;
  double voltage;  // V, at which the currents are specified
  double idd0;     // one bank activated and precharged every tRC
  double idd2n;    // standby, all banks precharged
  double idd3n;    // standby, rows open
  double idd4r;    // continuous reads
  double idd4w;    // continuous writes
  double idd5;     // continuous refresh
};

struct DramTiming {
  double tck;     // ns
  double tras;    // ns, row open at least
  double trc;     // ns, from one activation of a bank to its next
  double trfc;    // ns, one refresh
  double tburst;  // ns in which one burst occupies the data bus
};

// Counts need not be whole: a share of a command is a mean over many runs.
struct CommandCounts {
  double activates;
  double precharges;
  double reads;   // bursts
  double writes;  // bursts
  double refreshes;
  double active_cycles;      // clock cycles with a row open in some bank
  double precharged_cycles;  // clock cycles with none
};

// pJ of one domain of one chip.
struct CommandEnergy {
  double activate;   // row opened: the tRAS part of IDD0
  double precharge;  // row closed: the rest of tRC
  double read;
  double write;
  double refresh;
  double active_background;
  double precharged_background;

  double total() const {
    return activate + precharge + read + write + refresh + active_background +
           precharged_background;
  }
};

// How the energy depends on the supply voltage at the same timing. No data sheet gives currents
// along the voltage, so this is an assumption and has a name.
enum class VoltageLaw {
  kLinear,     // currents fixed: E = I V t
  kQuadratic,  // currents proportional to the voltage, as of capacitances that switch: E ~ V^2
};

// Energy at a voltage over that at another one. Throws std::invalid_argument unless both are finite
// and above 0.
double voltage_factor(VoltageLaw law, double voltage, double reference);

// The equations of Micron's technical note TN-41-01 in the form in which DRAMPower 4.1 counts them,
// the activation and the precharge apart:
//   activate    n tRAS (I0 - I3N) V        read     n tBURST (I4R - I3N) V
//   precharge   n (tRC - tRAS) (I0 - I2N) V write    n tBURST (I4W - I3N) V
//   background  tCK (c_act I3N + c_pre I2N) V  refresh  n tRFC (I5 - I3N) V
// Throws std::invalid_argument naming the domain and the figure that is negative or not finite, and
// for a tRC below tRAS.
CommandEnergy command_energy(const DomainCurrents& domain, const DramTiming& timing,
                             const CommandCounts& counts);

}  // namespace eden
