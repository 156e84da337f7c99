# SPDX-License-Identifier: MIT
"""json, hashing and file I/O; what it prints and writes is the same on every run."""
import hashlib
import json
import os
import zlib

records = [{"id": i, "name": f"record {i}", "even": i % 2 == 0, "root": round(i ** 0.5, 6)}
           for i in range(2000)]

with open("records.json", "w", encoding="ascii") as file:
    json.dump(records, file, sort_keys=True, indent=1)
with open("records.json", encoding="ascii") as file:
    read_back = json.load(file)
print("json: read back what was written:", read_back == records)

with open("records.json", "rb") as file:
    data = file.read()
print("size:", len(data), "of", os.stat("records.json").st_size)
for name in "md5", "sha256", "sha3_256", "blake2b":
    print(f"{name}: {hashlib.new(name, data).hexdigest()[:32]}")

packed = zlib.compress(data)
print("zlib:", len(packed), zlib.decompress(packed) == data)

os.rename("records.json", "renamed.json")
with open("renamed.json", "r+b") as file:
    file.seek(-10, os.SEEK_END)
    tail = file.read()
    file.truncate(1000)
print("tail:", tail, "files:", sorted(os.listdir(".")))

try:
    open("no/such/file", encoding="ascii")
except FileNotFoundError as error:
    print("error:", error)
try:
    1 // 0
except ZeroDivisionError as error:
    print("error:", error)
