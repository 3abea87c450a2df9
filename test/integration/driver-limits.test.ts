import { afterAll, describe, expect, test } from 'vitest';
import { tiers, type Tier } from '../../pure/contracts/index.ts';
import { findRunsc, modes, World, type Outcome } from './driver-world.ts';

const runsc = findRunsc();
const MiB = 1024 * 1024;
const small: Tier = { vcpu: 1, memoryBytes: 256 * MiB, diskBytes: 128 * MiB, pids: 64, openFiles: 128 };
const python = (code: string): string[] => ['/usr/bin/python3', '-c', code];

describe.each(modes)('limits as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());

  const inSandbox = async (argv: string[], cwd = '/tmp'): Promise<Outcome> => {
    const request = world.staged(world.makeFolder('project'), { tier: small });
    await world.start(request);
    const outcome = await world.run(request, argv, cwd);
    await world.kill(request);
    return outcome;
  };
  const fill = (path: string, mebibytes: number): Promise<Outcome> =>
    inSandbox(['/bin/dd', 'if=/dev/zero', `of=${path}`, 'bs=1M', `count=${mebibytes}`]);

  test('[R25] every limit is read back from the host, and what is not enforced says why', async () => {
    const request = world.staged(world.makeFolder('project'), { tier: small });
    await world.start(request);
    await world.sh(request, 'true');
    const limits = await world.limits(request);
    const by = new Map(limits.map((limit) => [limit.limit, limit]));
    expect([...by.keys()].sort()).toEqual(
      ['cpu', 'home-disk', 'memory', 'open-files', 'processes', 'time', 'tmp-disk', 'workspace-disk'].sort(),
    );
    if (mode === 'root') {
      expect(by.get('memory')).toMatchObject({ enforced: true, value: 256 * MiB });
      expect(by.get('cpu')).toMatchObject({ enforced: true, value: 1 });
    } else {
      for (const limit of limits.filter(({ enforced }) => !enforced))
        expect(limit.by).toMatch(/cgroup|controller/);
    }
    for (const name of [
      'processes',
      'open-files',
      'tmp-disk',
      'home-disk',
      'workspace-disk',
      'time',
    ] as const)
      expect(by.get(name)?.enforced).toBe(true);
    await world.kill(request);
  });

  test('[R25] /tmp and home are full at their size; control: half of it fits', async () => {
    for (const path of ['/tmp/big', '/home/agent/big']) {
      expect(await fill(path, 16)).toMatchObject({ code: 0 });
      const full = await fill(path, 64);
      expect(full.code).toBe(1);
      expect(full.stderr).toContain('No space left on device');
    }
  });

  test.each(['tmp', 'home'] as const)(
    '[R25] the person can be told that %s was full; control: of one that was not, nothing',
    async (disk) => {
      for (const [megabytes, full] of [
        [100, [{ limit: `${disk}-disk` }]],
        [1, []],
      ] as const) {
        const request = world.staged(world.makeFolder('project'), { tier: small });
        await world.start(request);
        const place = disk === 'tmp' ? '/tmp' : '/home/agent';
        await world.sh(request, `dd if=/dev/zero of=${place}/big bs=1M count=${String(megabytes)}`);
        expect((await world.kill(request)).full).toMatchObject(full);
      }
    },
  );

  test('[R25] the workspace\u2019s changes cannot exceed their share of the disk', async () => {
    expect(await fill('/workspace/small', 16)).toMatchObject({ code: 0 });
    const request = world.staged(world.makeFolder('project'), { tier: small });
    await world.start(request);
    const outcome = await world.sh(
      request,
      'dd if=/dev/zero of=/workspace/big bs=1M count=100; [ $? = 0 ] && sleep 30',
    );
    if (mode === 'root') {
      expect(await world.kill(request)).toMatchObject({
        reason: 'killed',
        full: [{ limit: 'workspace-disk' }],
      });
      expect(outcome.stderr).toContain('No space left on device');
    } else {
      expect(outcome).toMatchObject({ type: 'ended', reason: 'disk' });
      expect(outcome.detail).toContain('beyond the disk');
    }
  });

  test('[R25] threads and processes end at the tier\u2019s number with EAGAIN; control: ten work', async () => {
    const threads = (n: number): string[] =>
      python(
        `import threading,time\nn=0\ntry:\n  for i in range(${n}):\n    t=threading.Thread(target=time.sleep,args=(2,),daemon=True); t.start(); n+=1\nexcept RuntimeError: print('stopped',n)\nelse: print('all',n)`,
      );
    expect((await inSandbox(threads(10))).stdout).toBe('all 10\n');
    const many = await inSandbox(threads(2000));
    expect(many.stdout).toMatch(/^stopped \d+\n$/);
    expect(Number(many.stdout.split(' ')[1])).toBeLessThan(small.pids);
    const bomb = await inSandbox(
      python(
        `import os,time\nn=0\nwhile True:\n  try: pid=os.fork()\n  except OSError as e: print('errno',e.errno,n,flush=True); break\n  if pid==0: time.sleep(3); os._exit(0)\n  n+=1`,
      ),
    );
    expect(bomb.stdout).toMatch(/^errno 11 \d+\n$/);
  });

  test('[R25] open files end at the tier\u2019s number', async () => {
    const open = (n: number): string[] =>
      python(
        `import os\nn=0\ntry:\n  for i in range(${n}): os.open('/dev/null',0); n+=1\nexcept OSError as e: print('errno',e.errno)\nelse: print('all')`,
      );
    expect((await inSandbox(open(50))).stdout).toBe('all\n');
    expect((await inSandbox(open(500))).stdout).toBe('errno 24\n');
    const raised = await inSandbox(
      python('import resource\nresource.setrlimit(resource.RLIMIT_NOFILE,(100000,100000))'),
    );
    expect(raised.stderr).toMatch(/not allowed|not permitted|exceed/);
  });

  test('[R25] memory beyond the tier ends the sandbox and says so, where the host can; control: a quarter fits', async () => {
    const take = (n: number): string[] =>
      python(`x=bytearray(${n * MiB})\nfor i in range(0,len(x),4096): x[i]=1\nprint('had it')`);
    expect((await inSandbox(take(64))).stdout).toBe('had it\n');
    const request = world.staged(world.makeFolder('project'), { tier: small });
    await world.start(request);
    const memory = (await world.limits(request)).find(({ limit }) => limit === 'memory');
    if (mode === 'user' && memory?.enforced === false) {
      // No delegated cgroup here: that is said, and nothing else is claimed.
      expect(memory.by).toMatch(/cgroup|controller/);
      await world.kill(request);
      return;
    }
    const outcome = await world.run(request, take(600));
    expect(outcome).toMatchObject({ type: 'ended', reason: 'memory' });
    expect(outcome.detail).toContain('more memory than the tier');
  });

  test('[R26] a sandbox ends at its time limit and says so', async () => {
    const request = world.staged(world.makeFolder('project'), { tier: tiers.starter, timeLimitMs: 1500 });
    await world.start(request);
    expect(await world.sh(request, 'sleep 60')).toMatchObject({ type: 'ended', reason: 'time' });
  });
});
