// Small files of each format, and what reads them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "measurements/parser.h"

namespace eden::measurements {

inline Tested small_test() { return {{0, 1, 2}, 0, 8, 64, 4}; }

struct Sample {
  std::string format;
  std::string text;
  Settings settings;
};

// One of each format, without damage, with the settings that it is read with.
inline std::vector<Sample> samples() {
  std::vector<Sample> all;
  all.push_back({"counts",
                 "vdd,trcd,temperature,pattern,stored,module,vendor,bank,repeat,errors,cells\n"
                 "1.35,7.5,50,0xff,1,m1,A,0,0,12,1073741824\n"
                 "1.35,7.5,50,0xff,1,m1,A,1,0,0,1073741824\n"
                 "1.35,7.5,50,0xff,1,m1,A,0,1,13.5,1073741824\n"
                 "1.35,5.0,50,\"0xff/0x00\",,m1,A,0,0,7,1073741824\r\n",
                 {}});
  Settings settings;
  settings.at.field[kTemperature] = 45.0;
  settings.tested = small_test();
  settings.column_bits = 16;
  settings.repeats = 3;
  all.push_back({"flips",
                 "trp,pattern,bank,row,column,bit,repeat\n"
                 "5,0xaa,0,0,0,1,0\n"
                 "5,0xaa,0,0,0,1,1\n"
                 "5,0xaa,2,7,3,15,1\n"
                 "5,0xff/0x00,1,4,1,2,2\n",
                 settings});
  settings = {};
  settings.at.pattern = *Pattern::parse("0x55");
  settings.tested = small_test();
  std::string bits(2 * 3 * 8 * 8, '\0');
  bits[0] = '\x01';
  bits[100] = '\x80';
  bits[3 * 8 * 8] = '\x03';
  all.push_back({"dram-bender-retention", bits, settings});
  settings.tested.row_end = 2;
  std::string numbers;
  for (int i = 0; i < 3 * 2 * 8; ++i) numbers += i % 7 == 1 ? "-255" : i % 7 == 2 ? "128" : "-256";
  all.push_back({"dram-bender-retention", numbers, settings});
  settings = {};
  settings.tested = {{0, 1, 16, 35}, 0, 64, 8192, 0};
  all.push_back({"dram-bender-hbm",
                 "channel,pseudo_channel,bank,row,column,bit,retention_time_in_ms,data_pattern\n"
                 "0,0,0,5,0,17,4000,255\n"
                 "0,0,1,63,31,255,4000,255\n"
                 "0,1,0,9,7,1,4000,85\n"
                 "1,0,3,9,7,1,8000,0x55\n",
                 settings});
  all.push_back({"rowscout",
                 "CMD: sudo ./RowScout -b 1\n"
                 "{\n  \"row_group\" : [\n    {\"row_id\" : 5, \"bitflip_locs\" : [3, 77]},\n"
                 "    {\"row_id\" : 7, \"bitflip_locs\" : []}\n  ],\n"
                 "  \"bank_id\" : 1,\n  \"ret_ms\" : 448,\n  \"data_pattern_type\" : 1\n}\n"
                 "{\"row_group\": [{\"bitflip_locs\": [9], \"row_id\": 6}], \"bank_id\": 0, "
                 "\"ret_ms\": 512, \"data_pattern_type\": 3}\n",
                 {}});
  settings = {};
  settings.at.field[kHammerCount] = 1e5;
  settings.at.pattern = *Pattern::parse("0x00");
  settings.tested = {{1}, 0, 2048, 65536, 0};
  all.push_back({"pacram", "PivotRow,BitLoc\n1024,77\n1024,91\n1024,91\n5,0\n", settings});
  settings = {};
  settings.tested = {{1}, 0, 2048, 65536, 0};
  all.push_back({"dram-bender-rows",
                 "Temp,Pattern,tWAIT,Row,NumBitflips\n90,00000000,16,1483,1\n"
                 "90,00000000,32,750,1\n90,00000000,32,1483,2\n90,FFFFFFFF,32,0,65536\n",
                 settings});
  settings = {};
  settings.at.pattern = *Pattern::parse("01_in_row");
  settings.tested = {{1}, 0, 64, 1024, 0};
  all.push_back({"rowhammer-tester",
                 "{\"40000\": {\"read_count\": 40000, \"pair_1_3\": {\"hammer_row_1\": 1, "
                 "\"hammer_row_2\": 3, \"errors_in_rows\": {\"2\": {\"bank\": 1, \"row\": 2, "
                 "\"col\": {\"0\": [7, 130], \"8\": [0]}, \"bitflips\": 3}}},\n"
                 "\"pair_2_4\": {\"errors_in_rows\": {}}},\n"
                 "\"6e4\": {\"x\": {\"errors_in_rows\": {\"2\": {\"col\": {\"0\": [7]}, "
                 "\"bitflips\": 1}}}}}\n",
                 settings});
  settings.at.pattern = *Pattern::parse("0xfe");
  settings.tested = {{0, 1}, 0, 64, 1024, 0};
  all.push_back({"softmc",
                 "Testing rows\nError at Col: 12, Row: 34, Bank: 1, DATA: ff \n"
                 "Error at Col: 12, Row: 34, Bank: 1, DATA: 7e \n"
                 "Error at Col: 1016, Row: 35, Bank: 0, DATA: 0 \n",
                 settings});
  all.push_back({"voltage",
                 "dimm_name,vdd,vendor,error_cacheline_percent\n"
                 "A1,1.1,A,0.0986963510513\nB2,1.125,B,0\nA1,1.35,A,1.19209289551e-05\n",
                 {}});
  return all;
}

inline std::unique_ptr<Reader> read_all(const Sample& sample) {
  auto reader = std::make_unique<Reader>(sample.format, sample.settings);
  reader->feed(sample.text);
  reader->finish();
  return reader;
}

}  // namespace eden::measurements
