#include "costs/energy.h"

#include <cmath>
#include <sstream>
#include <stdexcept>

namespace eden {
namespace {

void check_at_least_zero(const std::string& owner, const char* name, double value) {
  if (!(value >= 0.0 && std::isfinite(value))) {
    std::ostringstream message;
    message << owner << ": " << name << " is " << value << "; allowed is a finite number from 0";
    throw std::invalid_argument(message.str());
  }
}

void check_above_zero(const std::string& owner, const char* name, double value) {
  if (!(value > 0.0 && std::isfinite(value))) {
    std::ostringstream message;
    message << owner << ": " << name << " is " << value << "; allowed is a finite number above 0";
    throw std::invalid_argument(message.str());
  }
}

}  // namespace

double voltage_factor(VoltageLaw law, double voltage, double reference) {
  check_above_zero("supply", "voltage", voltage);
  check_above_zero("supply", "reference voltage", reference);
  const double ratio = voltage / reference;
  return law == VoltageLaw::kLinear ? ratio : ratio * ratio;
}

CommandEnergy command_energy(const DomainCurrents& domain, const DramTiming& timing,
                             const CommandCounts& counts) {
  const std::string owner = "domain " + domain.name;
  check_above_zero(owner, "voltage", domain.voltage);
  check_at_least_zero(owner, "idd0", domain.idd0);
  check_at_least_zero(owner, "idd2n", domain.idd2n);
  check_at_least_zero(owner, "idd3n", domain.idd3n);
  check_at_least_zero(owner, "idd4r", domain.idd4r);
  check_at_least_zero(owner, "idd4w", domain.idd4w);
  check_at_least_zero(owner, "idd5", domain.idd5);
  check_above_zero("timing", "tck", timing.tck);
  check_above_zero("timing", "tras", timing.tras);
  check_above_zero("timing", "trc", timing.trc);
  check_above_zero("timing", "trfc", timing.trfc);
  check_above_zero("timing", "tburst", timing.tburst);
  if (timing.trc < timing.tras) {
    std::ostringstream message;
    message << "timing: trc is " << timing.trc << " ns; allowed is tras, " << timing.tras
            << " ns, or more";
    throw std::invalid_argument(message.str());
  }
  check_at_least_zero("counts", "activates", counts.activates);
  check_at_least_zero("counts", "precharges", counts.precharges);
  check_at_least_zero("counts", "reads", counts.reads);
  check_at_least_zero("counts", "writes", counts.writes);
  check_at_least_zero("counts", "refreshes", counts.refreshes);
  check_at_least_zero("counts", "active_cycles", counts.active_cycles);
  check_at_least_zero("counts", "precharged_cycles", counts.precharged_cycles);

  const auto picojoules = [&](double number, double milliamperes, double nanoseconds) {
    return number * milliamperes * domain.voltage * nanoseconds;
  };
  CommandEnergy energy;
  energy.activate = picojoules(counts.activates, domain.idd0 - domain.idd3n, timing.tras);
  energy.precharge =
      picojoules(counts.precharges, domain.idd0 - domain.idd2n, timing.trc - timing.tras);
  energy.read = picojoules(counts.reads, domain.idd4r - domain.idd3n, timing.tburst);
  energy.write = picojoules(counts.writes, domain.idd4w - domain.idd3n, timing.tburst);
  energy.refresh = picojoules(counts.refreshes, domain.idd5 - domain.idd3n, timing.trfc);
  energy.active_background = picojoules(counts.active_cycles, domain.idd3n, timing.tck);
  energy.precharged_background = picojoules(counts.precharged_cycles, domain.idd2n, timing.tck);
  return energy;
}

}  // namespace eden
