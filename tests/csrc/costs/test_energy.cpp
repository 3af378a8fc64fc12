// Does the energy of counted commands match DRAMPower 4.1's figure and a calculation by hand?
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "catch2.h"
#include "costs/energy.h"

namespace {

using eden::CommandCounts;
using eden::CommandEnergy;
using eden::DomainCurrents;
using eden::DramTiming;
using eden::VoltageLaw;

// A 4 Gb DDR4-2400 chip, 8 bits wide: cycles of 1200 MHz, bursts of 8.
constexpr double kClock = 1000.0 / 1200.0;
const DramTiming kTiming{kClock, 39 * kClock, 55 * kClock, 313 * kClock, 4 * kClock};
const DomainCurrents kVdd{"vdd", 1.2, 60.75, 38.25, 44.0, 184.5, 168.75, 118.0};
const DomainCurrents kVpp{"vpp", 2.5, 4.05, 0.0, 0.0, 0.0, 0.0, 0.0};
constexpr CommandCounts kCounts{13387, 13378, 48000, 2647, 84, 788653, 5011};

std::string error_of(const DomainCurrents& domain, const DramTiming& timing,
                     const CommandCounts& counts) {
  try {
    eden::command_energy(domain, timing, counts);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("energy: DRAMPower 4.1's equations, to the hundredth of a pJ") {
  const CommandEnergy vdd = eden::command_energy(kVdd, kTiming, kCounts);
  const CommandEnergy vpp = eden::command_energy(kVpp, kTiming, kCounts);
  CHECK(std::abs(vpp.total() - 6211189.69) < 0.005);
  CHECK(std::abs(vdd.total() + vpp.total() - 84907191.19) < 0.005);
  // With V tCK = 1 pJ per mA and cycle, every term is a product of whole numbers and currents.
  CHECK(std::abs(vdd.activate - 13387 * 39 * 16.75) < 1e-6);
  CHECK(std::abs(vdd.precharge - 13378 * 16 * 22.5) < 1e-6);
  CHECK(std::abs(vdd.read - 48000 * 4 * 140.5) < 1e-6);
  CHECK(std::abs(vdd.write - 2647 * 4 * 124.75) < 1e-6);
  CHECK(std::abs(vdd.refresh - 84 * 313 * 74.0) < 1e-6);
  CHECK(std::abs(vdd.active_background - 788653 * 44.0) < 1e-6);
  CHECK(std::abs(vdd.precharged_background - 5011 * 38.25) < 1e-6);
}

TEST_CASE("energy: an activation and its precharge are Micron's activation") {
  const CommandEnergy one = eden::command_energy(kVdd, kTiming, {1, 1, 0, 0, 0, 0, 0});
  const double charge =
      60.75 * kTiming.trc - 44.0 * kTiming.tras - 38.25 * (kTiming.trc - kTiming.tras);
  CHECK(one.total() == Approx(1.2 * charge).epsilon(1e-12));
}

TEST_CASE("energy: it is linear in the counts") {
  const CommandEnergy one = eden::command_energy(kVdd, kTiming, kCounts);
  const CommandEnergy half = eden::command_energy(
      kVdd, kTiming, {13387 / 2.0, 6689, 24000, 2647 / 2.0, 42, 788653 / 2.0, 5011 / 2.0});
  CHECK(half.total() == Approx(one.total() / 2.0).epsilon(1e-12));
  CHECK(eden::command_energy(kVdd, kTiming, {0, 0, 0, 0, 0, 0, 0}).total() == 0.0);
}

TEST_CASE("energy: the voltage's laws") {
  CHECK(eden::voltage_factor(VoltageLaw::kLinear, 1.08, 1.35) == Approx(0.8));
  CHECK(eden::voltage_factor(VoltageLaw::kQuadratic, 1.08, 1.35) == Approx(0.64));
  CHECK(eden::voltage_factor(VoltageLaw::kQuadratic, 1.35, 1.35) == 1.0);
  CHECK_THROWS_AS(eden::voltage_factor(VoltageLaw::kLinear, 0.0, 1.35), std::invalid_argument);
  CHECK_THROWS_AS(eden::voltage_factor(VoltageLaw::kLinear, 1.35, std::nan("")),
                  std::invalid_argument);
}

TEST_CASE("energy: errors name the figure") {
  DomainCurrents domain = kVdd;
  domain.idd4r = -1.0;
  CHECK(has(error_of(domain, kTiming, kCounts), "domain vdd: idd4r is -1; allowed is"));
  domain = kVdd;
  domain.voltage = 0.0;
  CHECK(has(error_of(domain, kTiming, kCounts), "domain vdd: voltage is 0; allowed is"));
  DramTiming timing = kTiming;
  timing.trc = timing.tras / 2.0;
  CHECK(has(error_of(kVdd, timing, kCounts), "timing: trc is 16.25 ns; allowed is tras, 32.5 ns"));
  timing = kTiming;
  timing.trfc = std::numeric_limits<double>::infinity();
  CHECK(has(error_of(kVdd, timing, kCounts), "timing: trfc is inf"));
  CommandCounts counts = kCounts;
  counts.reads = -2.0;
  CHECK(has(error_of(kVdd, kTiming, counts), "counts: reads is -2; allowed is"));
}
