-- Add a batch of usage once, however often it is sent.
-- KEYS: the batch's mark, then for each row the hash of its day and key, and the set of the day's keys.
-- ARGV: seconds to keep the mark, seconds to keep the usage, how many figures a row has, their names,
-- then for each row the key's name, the model, and its figures.
-- Returns: 1, or 0 if the batch was added before.
if not redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) then return 0 end
local keep, figures = ARGV[2], tonumber(ARGV[3])
local at = 3 + figures
for i = 2, #KEYS, 2 do
  local key, model = ARGV[at + 1], ARGV[at + 2]
  for figure = 1, figures do
    local amount = ARGV[at + 2 + figure]
    if amount ~= '0' then redis.call('HINCRBY', KEYS[i], model .. '\31' .. ARGV[3 + figure], amount) end
  end
  redis.call('SADD', KEYS[i + 1], key)
  redis.call('EXPIRE', KEYS[i], keep)
  redis.call('EXPIRE', KEYS[i + 1], keep)
  at = at + 2 + figures
end
return 1
