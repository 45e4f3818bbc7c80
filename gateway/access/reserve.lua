-- Reserve all charges or none. KEYS: one counter per charge, then since when the store has its data.
-- ARGV: the holder's id, slots of a window, then kind, limit, amount and seconds of each charge; last, for how many
-- seconds to keep the last key. A charge's seconds are a window's length, or how long a budget's counter is kept, or
-- how long a holder counts at most.
-- Returns: index of the refused charge (-1: none), seconds to wait, the server's time, then what is left of each.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local holder, slots = ARGV[1], tonumber(ARGV[2])
local charges = #KEYS - 1
local left, windows = {}, {}

-- The server's clock may go back. A slot more than a window ahead is of before then, and would count for too long.
local function kept(key, seconds)
  local current = math.floor(now * slots / seconds)
  local first, last = current - slots, current + slots
  local entries, total, gone = {}, 0, {}
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local slot, amount = tonumber(flat[i]), tonumber(flat[i + 1])
    if slot < first or slot > last then
      gone[#gone + 1] = flat[i]
    else
      entries[#entries + 1] = {slot, amount}
      total = total + amount
    end
  end
  return entries, total, gone
end

-- A holder that would count for longer than any, because the clock went back, counts from now.
local function holders(key, seconds)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local latest = now + seconds
  for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. string.format('%.6f', latest), '+inf')) do
    redis.call('ZADD', key, latest, ahead)
  end
  return redis.call('ZCARD', key)
end

local function wait(entries, excess, seconds)
  table.sort(entries, function(a, b) return a[1] < b[1] end)
  local slot = 0
  for _, entry in ipairs(entries) do
    slot, excess = entry[1], excess - entry[2]
    if excess <= 0 then break end
  end
  return (slot + slots + 1) * seconds / slots - now
end

for i = 1, charges do
  local key, kind = KEYS[i], ARGV[4 * i - 1]
  local limit, amount, seconds = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2])
  local entries, total
  if kind == 'window' then
    entries, total, windows[i] = kept(key, seconds)
  elseif kind == 'concurrency' then
    total = holders(key, seconds)
  else
    total = tonumber(redis.call('GET', key) or '0')
  end
  local room = limit - total
  if amount > room then
    local pause = 0
    if kind == 'window' and amount <= limit then pause = wait(entries, amount - room, seconds) end
    return {i - 1, tostring(pause), string.format('%.6f', now), math.max(0, room)}
  end
  left[i] = room - amount
end

for i = 1, charges do
  local key, kind, amount, seconds = KEYS[i], ARGV[4 * i - 1], ARGV[4 * i + 1], tonumber(ARGV[4 * i + 2])
  if kind == 'window' then
    if #windows[i] > 0 then redis.call('HDEL', key, unpack(windows[i])) end
    redis.call('HINCRBY', key, string.format('%d', math.floor(now * slots / seconds)), amount)
    redis.call('EXPIRE', key, math.ceil(seconds * 2))
  elseif kind == 'concurrency' then
    redis.call('ZADD', key, now + seconds, holder)
    redis.call('EXPIRE', key, math.ceil(seconds))
  else
    redis.call('INCRBY', key, amount)
    redis.call('EXPIRE', key, math.ceil(seconds))
  end
end
local since = tonumber(redis.call('GET', KEYS[#KEYS]) or '')
if not since or since > now then redis.call('SET', KEYS[#KEYS], string.format('%.6f', now), 'EX', ARGV[#ARGV]) end
return {-1, '0', string.format('%.6f', now), unpack(left)}
