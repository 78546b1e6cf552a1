-- Runs several scripts in one call, in order, each as if it had been sent alone; one that fails fails
-- alone.
-- KEYS those of every call, one call after the other
-- ARGV[1] how many calls; then of each: script, how many keys, how many arguments, its arguments
-- RETURNS for each call what its script returned, or FAILED
local scripts = {}
--@scripts
local answers, keys_before, before = {}, 0, 1
for i = 1, tonumber(ARGV[1]) do
  local run = scripts[ARGV[before + 1]]
  local key_count, argument_count = tonumber(ARGV[before + 2]), tonumber(ARGV[before + 3])
  local its_keys, its_arguments = {}, {}
  for j = 1, key_count do
    its_keys[j] = KEYS[keys_before + j]
  end
  for j = 1, argument_count do
    its_arguments[j] = ARGV[before + 3 + j]
  end
  keys_before, before = keys_before + key_count, before + 3 + argument_count
  local went_well, answer = pcall(run, its_keys, its_arguments)
  answers[i] = went_well and answer or { 'FAILED' }
end
return answers
