PLOTS = {}
